"""`jobengine db`: works on database files, without a server and without loading one."""
