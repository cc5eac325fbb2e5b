package meta

// RetryAfterIn is how long the header of a reply asks to wait.
var RetryAfterIn = retryAfter
