"""Exporters: one module for each file format that a runtime takes."""
