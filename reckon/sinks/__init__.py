"""Where messages go. Each sink knows one place and how things look there; what is said is `reckon.core.messages`."""
