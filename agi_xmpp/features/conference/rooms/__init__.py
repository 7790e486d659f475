"""Which rooms there are, and what is asked of them; `service` leads in. Pure."""
