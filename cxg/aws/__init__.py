"""AWS as the start asks it: `calls` asks, `errors` turns refusals into sentences."""
