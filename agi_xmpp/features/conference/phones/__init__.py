"""The phones' side: who is in the conference, and how texts go both ways."""
