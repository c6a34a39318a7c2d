"""The methods, a file each, over a shared kit. Imports only the data types and the registry of `datasets`."""
