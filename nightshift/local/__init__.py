"""The local runtime: the same functions that Lambda calls, on an emulator of SQS and SES in this process."""
