"""The models: one small file an idea (architecture, posterior, likelihood, noise), and the VAE."""
