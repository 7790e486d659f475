"""One room: who is in, and what is said (XEP-0045). Pure; `room` is the whole, made of the others."""
