//! Proves what a Kubernetes API server's traces say.
