"""What a machine can do and what stands in its way, found in seconds and said with the remedy,
before anything is measured.

Works with a bare Python, so that a machine which can never run the engine hears it before anything
is installed.
"""
