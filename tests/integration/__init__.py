"""The gateway as a process, on a real Redis and a real kube-apiserver."""
