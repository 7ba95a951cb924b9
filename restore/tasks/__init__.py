"""What is done around a network: denoising and upscaling. No engine, no files."""
