"""What this server adds to the web client's page: links, messages, embedding and things to take away."""
