"""What the two services that answer over HTTP have in common: who may ask, and how long a caller is waited for."""
