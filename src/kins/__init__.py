"""kins: a real Kubernetes cluster inside a sandbox. The public Python interface; its parts live in the packages below."""
