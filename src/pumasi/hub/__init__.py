"""The coordinating body's side: membership, catalogue, cases, mailbox and log. It never holds patient data, nor a number of a study."""
