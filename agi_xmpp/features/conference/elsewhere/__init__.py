"""Phones as occupants of a room on another MUC service; `bridges` is the whole. Pure."""
