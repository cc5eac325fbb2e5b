package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// redirectLife is how long an address from [S3.Redirect] can be used to begin
// a download. Hosts that resume one come to us again.
const redirectLife = 15 * time.Minute

// defaultRegion spares the question which region a bucket is in; stores that
// are not Amazon's take it.
const defaultRegion = "us-east-1"

// S3Config says where an S3-compatible store is. [ParseS3] makes one of an
// address.
type S3Config struct {
	Endpoint     string // host:port
	Public       string // host:port by which hosts reach it; empty: Endpoint
	Bucket       string
	Prefix       string // of keys, without a slash at its ends
	Region       string // empty: us-east-1
	AccessKey    string
	SecretKey    string
	SessionToken string
	TLS          bool
	NoRedirect   bool // hosts cannot reach the store: serve everything ourselves
	Create       bool // make the bucket if there is none
}

// ParseS3 reads
//
//	s3://KEY:SECRET@host:port/bucket/prefix?region=…&tls=false&public=host:port&redirect=false&create=true
//
// Without a key in the address those of the environment are used:
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. TLS is on
// unless it is turned off. Errors don't repeat the secret.
func ParseS3(address string) (S3Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "s3" || u.Host == "" {
		return S3Config{}, errors.New("cannot read the artifact store's address: want s3://KEY:SECRET@host:port/bucket/prefix")
	}
	c := S3Config{Endpoint: u.Host, TLS: true}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if c.Bucket, c.Prefix = bucket, strings.Trim(prefix, "/"); bucket == "" {
		return S3Config{}, fmt.Errorf("cannot read the artifact store's address: it names no bucket: want s3://%s/bucket", u.Host)
	}
	if u.User != nil {
		c.AccessKey = u.User.Username()
		c.SecretKey, _ = u.User.Password()
	} else {
		c.AccessKey, c.SecretKey, c.SessionToken = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")
	}
	if c.AccessKey == "" || c.SecretKey == "" {
		return S3Config{}, errors.New("cannot use the artifact store: there are no credentials for it: put them into its address or into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	return c, c.parseOptions(u.Query())
}

func (c *S3Config) parseOptions(q url.Values) error {
	redirect := true
	for name, values := range q {
		value := values[len(values)-1]
		var err error
		switch name {
		case "region":
			c.Region = value
		case "public":
			c.Public = value
		case "tls":
			c.TLS, err = strconv.ParseBool(value)
		case "redirect":
			redirect, err = strconv.ParseBool(value)
		case "create":
			c.Create, err = strconv.ParseBool(value)
		default:
			return fmt.Errorf("cannot read the artifact store's address: unknown option %q: known are region, tls, public, redirect, create", printable.Clip(name))
		}
		if err != nil {
			return fmt.Errorf("cannot read the artifact store's address: %s is %q: want true or false", name, printable.Clip(value))
		}
	}
	c.NoRedirect = !redirect
	return nil
}

// S3 keeps blobs in an S3-compatible store, shared by any number of servers.
// Two of them removing and putting the same content in the same moment can
// lose it, so what prunes must spare what is young (see [Store.Unused]).
type S3 struct {
	client *minio.Client
	public *minio.Client // signs the addresses that hosts get
	config S3Config
}

// OpenS3 connects to a store and makes sure that the bucket is there.
func OpenS3(ctx context.Context, c S3Config) (*S3, error) {
	if c.Region == "" {
		c.Region = defaultRegion
	}
	if c.Public == "" {
		c.Public = c.Endpoint
	}
	client, err := c.newClient(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("cannot open the artifact store: %w", err)
	}
	public, err := c.newClient(c.Public)
	if err != nil {
		return nil, fmt.Errorf("cannot open the artifact store: %w", err)
	}
	s := &S3{client: client, public: public, config: c}
	exists, err := client.BucketExists(ctx, c.Bucket)
	if errors.Is(err, http.ErrSchemeMismatch) {
		return nil, fmt.Errorf("cannot open the artifact store at %s: it speaks no TLS: add tls=false to the address", c.Endpoint)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the artifact store at %s: %w", c.Endpoint, err)
	}
	if exists {
		return s, nil
	}
	if !c.Create {
		return nil, fmt.Errorf("cannot open the artifact store at %s: there is no bucket %s: make it, or add create=true to the address", c.Endpoint, c.Bucket)
	}
	if err := client.MakeBucket(ctx, c.Bucket, minio.MakeBucketOptions{Region: c.Region}); err != nil && minio.ToErrorResponse(err).Code != minio.BucketAlreadyOwnedByYou {
		return nil, fmt.Errorf("cannot make the bucket %s: %w", c.Bucket, err)
	}
	return s, nil
}

func (c S3Config) newClient(endpoint string) (*minio.Client, error) {
	return minio.New(endpoint, &minio.Options{
		Creds:  credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken),
		Secure: c.TLS, Region: c.Region, BucketLookup: minio.BucketLookupAuto,
	})
}

func (s *S3) objectKey(sha256 string) string {
	return path.Join(s.config.Prefix, "sha256", sha256[:2], sha256[2:])
}

// Put implements [Blobs]. Content that is there already is sent again: that
// replaces it by the same in one step, and is the one way of making it new
// that works on every such store.
func (s *S3) Put(ctx context.Context, sha256 string, f *os.File, size int64) error {
	if err := validDigest(sha256); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return wrapS3("store", sha256, err)
	}
	info, err := s.client.PutObject(ctx, s.config.Bucket, s.objectKey(sha256), f, size, minio.PutObjectOptions{ContentType: "application/gzip"})
	if err == nil && info.Size != size {
		err = fmt.Errorf("%d of %d bytes arrived", info.Size, size)
	}
	return wrapS3("store", sha256, err)
}

// Open implements [Blobs]. The content is fetched as it is read.
func (s *S3) Open(ctx context.Context, sha256 string) (*Content, error) {
	if err := validDigest(sha256); err != nil {
		return nil, err
	}
	info, err := s.client.StatObject(ctx, s.config.Bucket, s.objectKey(sha256), minio.StatObjectOptions{})
	if err != nil {
		return nil, wrapS3("open", sha256, err)
	}
	o, err := s.client.GetObject(ctx, s.config.Bucket, s.objectKey(sha256), minio.GetObjectOptions{})
	if err != nil {
		return nil, wrapS3("open", sha256, err)
	}
	return &Content{o, Blob{sha256, info.Size, info.LastModified}}, nil
}

// Redirect implements [Blobs]: an address with a signature in it. It is made
// without asking the store.
func (s *S3) Redirect(ctx context.Context, sha256, fileName string) (string, error) {
	if s.config.NoRedirect {
		return "", nil
	}
	if err := validDigest(sha256); err != nil {
		return "", err
	}
	as := url.Values{}
	if fileName != "" {
		as.Set("response-content-disposition", fmt.Sprintf("attachment; filename=%q", fileName))
	}
	u, err := s.public.PresignedGetObject(ctx, s.config.Bucket, s.objectKey(sha256), redirectLife, as)
	if err != nil {
		return "", wrapS3("sign an address of", sha256, err)
	}
	return u.String(), nil
}

// List implements [Blobs].
func (s *S3) List(ctx context.Context, fn func(Blob) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing when fn has had enough
	top := path.Join(s.config.Prefix, "sha256") + "/"
	for o := range s.client.ListObjectsIter(ctx, s.config.Bucket, minio.ListObjectsOptions{Prefix: top, Recursive: true}) {
		if o.Err != nil {
			return fmt.Errorf("cannot list artifacts: %w", o.Err)
		}
		digest := strings.ReplaceAll(strings.TrimPrefix(o.Key, top), "/", "")
		if validDigest(digest) != nil || s.objectKey(digest) != o.Key {
			continue // not ours
		}
		if err := fn(Blob{digest, o.Size, o.LastModified}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Remove implements [Blobs].
func (s *S3) Remove(ctx context.Context, sha256 string, before time.Time) error {
	if err := validDigest(sha256); err != nil {
		return err
	}
	info, err := s.client.StatObject(ctx, s.config.Bucket, s.objectKey(sha256), minio.StatObjectOptions{})
	if isMissing(err) || err == nil && !info.LastModified.Before(before) {
		return nil
	}
	if err == nil {
		err = s.client.RemoveObject(ctx, s.config.Bucket, s.objectKey(sha256), minio.RemoveObjectOptions{})
	}
	return wrapS3("remove", sha256, err)
}

func isMissing(err error) bool {
	if err == nil {
		return false
	}
	r := minio.ToErrorResponse(err)
	return r.Code == minio.NoSuchKey || r.StatusCode == http.StatusNotFound && r.Code != minio.NoSuchBucket
}

func wrapS3(what, sha256 string, err error) error {
	switch {
	case err == nil:
		return nil
	case isMissing(err):
		return fmt.Errorf("cannot %s artifact %s: %w", what, sha256, ErrNoBlob)
	}
	return fmt.Errorf("cannot %s artifact %s: %w", what, sha256, err)
}
