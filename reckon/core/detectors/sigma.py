"""The plain rule: a day above mean + k standard deviations of the owner's own past days is unusual.

The running total of the day is judged at every poll, so a runaway is told while it runs. Two guards stand beside the
rule. With fewer than `min_history` past days nothing is unusual yet. And the excess over the mean has to be above
`min_nanos`, because with a flat history the deviation is zero and a cent would be unusual; at 0 this guard is away and
the rule holds to the letter.

What the rule is known to be bad at: heavy-tailed spenders (a log-normal day exceeds it in 3 to 9 of 100 cases), and an
old spike in the history that hides the next one. Leaving alerted days out of the history makes both worse.
"""

from reckon.core.alerts import Finding, Rule
from reckon.core.detectors.view import AnomalyPolicy, DayView


def look(view: DayView, policy: AnomalyPolicy) -> Finding | None:
    """Return what is unusual about the day of *view*, or None."""
    usual = view.usual
    if (
        usual.days < policy.min_history
        or not usual.is_exceeded_by(view.spend_nanos, policy.sigma)
        or usual.excess(view.spend_nanos) <= policy.min_nanos
    ):
        return None
    return Finding(
        Rule.SIGMA,
        view.owner,
        view.day,
        spend_nanos=view.spend_nanos,
        threshold_nanos=usual.threshold_nanos(policy.sigma),
        usual_nanos=usual.mean_nanos,
        history_days=usual.days,
    )
