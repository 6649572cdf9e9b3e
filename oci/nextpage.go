package oci

import (
	"fmt"
	"net/url"
	"strings"
)

// nextPage finds in Link headers (RFC 8288) where the list that came from base goes
// on, or nil. It must be on the same server.
func nextPage(base *url.URL, headers []string) (*url.URL, error) {
	for link := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		target, params, _ := strings.Cut(link, ">")
		target, opened := strings.CutPrefix(strings.TrimSpace(target), "<")
		rel := strings.NewReplacer(`"`, "", " ", "").Replace(strings.ToLower(params))
		if !opened || !strings.Contains(rel+";", ";rel=next;") {
			continue
		}
		u, err := base.Parse(target)
		if err != nil {
			return nil, fmt.Errorf("the link to the next page: %w", err)
		}
		if u.Scheme != base.Scheme || u.Host != base.Host || u.User != nil {
			return nil, fmt.Errorf("the link to the next page leads to another server, %.200q", u.Host)
		}
		return u, nil
	}
	return nil, nil
}
