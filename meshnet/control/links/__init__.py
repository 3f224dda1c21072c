"""The TCP links between peers: listening, dialling, records, and who may open one."""
