"""What crosses the network: messages, conversion, status codes, transport."""
