"""The sandbox: a deployment of its own in which the local reference of a consignment selects what happens to it."""
