"""`jobengine db`: works on database files, with no server needed and nothing of one loaded."""
