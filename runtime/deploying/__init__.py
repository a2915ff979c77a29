"""The folder that is deployed to a device: its files, and the checks that are made there."""
