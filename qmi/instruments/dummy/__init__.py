"""Simulated instruments, for trying things out and for tests."""

from qmi.instruments.dummy.noisy_sine_generator import Dummy_NoisySineGenerator, NoisySineGenerator

__all__ = ["Dummy_NoisySineGenerator", "NoisySineGenerator"]
