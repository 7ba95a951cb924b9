"""The autoencoder family: models, training, PCA, probe, anomaly detection, figures."""
