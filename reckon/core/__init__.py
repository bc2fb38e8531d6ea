"""The thinking: pure functions over frozen values, standard library only.

Nothing in this package reads a clock, a file, a socket or a log. Instants are arguments, always aware and in UTC; money
is a whole number of nano-dollars, and its unit is the last word of its name.

Glossary. A word means this, in every class, table, log line, setting and message. *Avoid* names the words that mean
something else nearby.

**Watching.** *API key*: one OpenRouter key, known by its hash. *Meter*: which total of a key (`credits`, `byok`); avoid
metric. *Counter*: a cumulative total kept by OpenRouter; avoid usage. *Poll*: one pass over all keys; avoid scan, sync.
*Snapshot*: every counter of one key at one instant; avoid sample, record. *Failure*: why one key yielded no snapshot.
*Source*: where snapshots come from; avoid provider, which is the host OpenRouter routed to. *Sweep*: a poll through one
management key.

**Counting.** *Delta*: growth of a counter between consecutive snapshots. *Mark*: the highest value accepted. *Opening*:
a first snapshot, which sets the mark and counts nothing; avoid baseline. *True zero*: a counter known to begin at
nothing. *Rollover*: a calendar counter starting again; avoid reset. *Dip*: a fall below the mark that may pass;
*correction*: one that stayed; *reset*: a correction that went down to nothing. *Gap*: a stretch longer than expected.
*Window*: a half-open span `[start, end)`; avoid period, bucket. *Grain*: a window's size. *Apportion*: divide a delta
over windows, losing nothing. *Spend*: money gone, as deltas tell it; avoid usage, cost.

**Attributing.** *Owner*: the person, team or service that answers for a key; avoid user, tenant. *Generation*: one
completion, by id; avoid request, call. *Resolve*: ask what a generation cost. *Settlement*: when its cost will no
longer change; before it *pending*, if never *expired*. *Cost*: the money of one generation. *Token pool*: one of the
exclusive token counts. *Reconcile*: set independent numbers for one span side by side. *Residual*: spend no settled
generation explains. *Budget*: set by us; *limit*: enforced by OpenRouter. *Runway*: time until one is reached.

**Noticing.** *Baseline*: what is usual for an owner; avoid average, normal. *Detector*: a pure function from history to
a finding; avoid rule, check. *Finding*: what one detector saw, with its evidence. *Alert*: a finding that persists,
*firing* then *resolved*, known by its *fingerprint*. *Transition*: a change in an alert and its reason. *Silence*: a
person's request not to hear of it until a time. *Staleness*: no fresh snapshot where one was due.

**Telling.** *Message*: what to say, free of markup; avoid notification. *Report*: a titled table for a span. *Digest*:
a report on a calendar. *Intent*: the one reason a message exists, as a unique key. *Outbox*: messages decided, not yet
delivered. *Sink*: where messages go; avoid channel. *Receipt*: what a sink returned, enough to edit or answer later.

**Running.** *Job*: ask, decide, commit; avoid task. *Plan*: all that a job decided. *Policy*: the settings one pure
function needs. *World*: the truth inside a fake.
"""
