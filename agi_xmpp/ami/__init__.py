"""Us to Asterisk: the manager interface (AMI), and the calls that its events tell of."""
