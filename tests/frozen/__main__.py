"""Prints the transcript of the wire as this code speaks it."""

from tests.frozen.transcript import rendered, transcript

print(rendered(transcript()), end="")
