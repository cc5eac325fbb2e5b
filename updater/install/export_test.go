package install

// CheckRedirect is the rule itself: tests have no certificate that a system
// trusts.
var CheckRedirect = checkRedirect
