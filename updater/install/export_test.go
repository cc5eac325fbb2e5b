package install

// CheckRedirect is the rule itself: tests have no certificate that a system
// trusts.
var CheckRedirect = checkRedirect

// RetryAfterIn is how long the header of a reply asks to wait.
var RetryAfterIn = retryAfter

// IsWeb reports whether an address is one of http or https.
var IsWeb = isWeb
