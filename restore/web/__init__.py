"""The page in the browser and the HTTP API behind it: the pipeline for those who send pictures."""
