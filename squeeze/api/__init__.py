"""The verbs on modules, files and data in memory: one file each, named like the verb.

Everything public is re-exported by ``squeeze`` itself, lazily.
"""
