"""E-mail: SMTP to send, IMAP on a journaling mailbox to look up what was sent."""
