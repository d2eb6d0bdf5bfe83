"""`jobengine db`: works on database files directly, and loads no server code."""
