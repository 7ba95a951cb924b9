"""One network over one picture, on one device, in bounded memory."""
