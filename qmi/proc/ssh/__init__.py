"""What qmi_proc does on other machines, over SSH."""
