"""Exported models, read without running them: where is a mask still drawn?"""
