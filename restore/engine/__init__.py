"""The engine: runs one network over one picture, on one device, in bounded memory."""
