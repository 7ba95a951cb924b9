"""The autoencoder family, self-contained: models, data, training, PCA, anomalies, figures."""
