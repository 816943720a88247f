"""Pumasi: the computation travels to the hospital; the patient data never leaves it."""
