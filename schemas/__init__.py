"""Curated TFMD schemas, one folder a data set."""
