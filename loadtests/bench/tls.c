#include "tls.h"

#include "ring.h"
#ifdef TLS
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { PIECE = 64 << 10, KEPT = 64 };

struct tls {
    SSL *ssl;
    BIO *incoming, *outgoing; /* the SSL's own */
    int fd;
    bool open, resume, ended;
};

static SSL_CTX *context;
static SSL_SESSION *kept[KEPT];
static size_t count_kept;

static void tls_fail(const char *what) {
    char reason[256] = "no reason is known";
    unsigned long code = ERR_get_error();
    if (code) ERR_error_string_n(code, reason, sizeof reason);
    fail("TLS, %s: %s", what, reason);
}

/* A session of TLS 1.3 is for one connection, which brings new ones; one of TLS 1.2 is for many. The newest are kept. */
static int keep(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    if (count_kept == KEPT) {
        SSL_SESSION_free(kept[0]);
        memmove(kept, kept + 1, --count_kept * sizeof *kept);
    }
    kept[count_kept++] = session;
    return 1;
}

void tls_prepare(const char *version, bool resumes) {
    int number = !strcmp(version, "1.2") ? TLS1_2_VERSION : !strcmp(version, "1.3") ? TLS1_3_VERSION : 0;
    if (!number) fail("TLS %s is not spoken here", version);
    context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, number) || !SSL_CTX_set_max_proto_version(context, number))
        tls_fail("context");
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* the signature of the handshake is verified all the same */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    if (!resumes) return;
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep);
}

static void shake(struct tls *self) {
    int result = SSL_do_handshake(self->ssl);
    if (result != 1 && SSL_get_error(self->ssl, result) != SSL_ERROR_WANT_READ) tls_fail("handshake");
    self->open = result == 1;
    if (self->open && SSL_session_reused(self->ssl) != self->resume) fail("TLS: a session was not resumed");
    tls_flush(self);
}

static struct tls *tls_new(int fd) {
    struct tls *self = calloc(1, sizeof *self);
    if (!self) fail("no memory");
    *self = (struct tls){.ssl = SSL_new(context), .fd = fd};
    self->incoming = BIO_new(BIO_s_mem());
    self->outgoing = BIO_new(BIO_s_mem());
    if (!self->ssl || !self->incoming || !self->outgoing) tls_fail("connection");
    SSL_set_bio(self->ssl, self->incoming, self->outgoing);
    SSL_set_connect_state(self->ssl);
    return self;
}

struct tls *tls_begin(int fd, bool resume) {
    struct tls *self = tls_new(fd);
    self->resume = resume;
    if (resume) {
        if (!count_kept) fail("TLS: the server gave no session to resume");
        SSL_SESSION *session = kept[count_kept - 1];
        if (!SSL_set_session(self->ssl, session)) tls_fail("session");
        if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
            SSL_SESSION_free(session);
            count_kept--;
        }
    }
    shake(self);
    return self;
}

bool tls_is_open(const struct tls *self) { return self->open; }

bool tls_flush(struct tls *self) {
    char *data;
    long size;
    while ((size = BIO_get_mem_data(self->outgoing, &data)) > 0) {
        ssize_t count = send(self->fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EAGAIN) return false;
        if (count < 0) fail("send: %m");
        char drop[PIECE];
        for (ssize_t left = count; left > 0;)
            left -= BIO_read(self->outgoing, drop, left < PIECE ? (int)left : PIECE);
    }
    return true;
}

size_t tls_send(struct tls *self, const void *data, size_t size) {
    size_t taken = 0;
    while (taken < size && tls_flush(self)) {
        size_t part = size - taken < PIECE ? size - taken : PIECE, count;
        if (!SSL_write_ex(self->ssl, (const char *)data + taken, part, &count)) tls_fail("write");
        taken += count;
    }
    tls_flush(self);
    return taken;
}

/* Returns how many bytes of plaintext there were. */
static size_t decrypt(struct tls *self, char *data, size_t size) {
    size_t have = 0, count;
    while (have < size && SSL_read_ex(self->ssl, data + have, size - have, &count)) have += count;
    if (have == size) fail("more has come than there is room for");
    int error = SSL_get_error(self->ssl, 0);
    if (error == SSL_ERROR_ZERO_RETURN) self->ended = true;
    else if (error != SSL_ERROR_WANT_READ) tls_fail("read");
    tls_flush(self); /* the answer to an update of keys */
    return have;
}

ssize_t tls_receive(struct tls *self, void *data, size_t size) {
    ssize_t count = recv(self->fd, data, size - TLS_SPARE, MSG_DONTWAIT);
    return count > 0 ? tls_take(self, data, (size_t)count, size) : count;
}

ssize_t tls_take(struct tls *self, void *data, size_t count, size_t size) {
    if (BIO_write(self->incoming, data, (int)count) != (int)count) tls_fail("memory");
    if (!self->open) shake(self);
    size_t have = self->open ? decrypt(self, data, size) : 0;
    if (have || self->ended) return (ssize_t)have;
    errno = EAGAIN;
    return -1;
}

bool tls_ended(const struct tls *self) { return self->ended; }

size_t tls_hello(void *data, size_t size) {
    struct tls *self = tls_new(-1);
    SSL_do_handshake(self->ssl);
    ERR_clear_error();
    int count = BIO_read(self->outgoing, data, (int)size);
    if (count <= 0 || BIO_pending(self->outgoing)) fail("TLS: a ClientHello of more than %zu bytes", size);
    SSL_free(self->ssl);
    free(self);
    return (size_t)count;
}

void tls_shutdown(struct tls *self) {
    if (SSL_shutdown(self->ssl) < 0) ERR_clear_error();
    tls_flush(self);
}

void tls_free(struct tls *self) {
    char *data;
    if (SSL_shutdown(self->ssl) < 0) ERR_clear_error();
    long size = BIO_get_mem_data(self->outgoing, &data);
    if (size > 0) send(self->fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    SSL_free(self->ssl);
    free(self);
}

#else

static void no_tls(void) __attribute__((noreturn));

static void no_tls(void) { fail("it was compiled without OpenSSL"); }

void tls_prepare(const char *version, bool resumes) { (void)version, (void)resumes, no_tls(); }
struct tls *tls_begin(int fd, bool resume) { (void)fd, (void)resume, no_tls(); }
bool tls_is_open(const struct tls *self) { (void)self, no_tls(); }
size_t tls_send(struct tls *self, const void *data, size_t size) { (void)self, (void)data, (void)size, no_tls(); }
bool tls_flush(struct tls *self) { (void)self, no_tls(); }
ssize_t tls_receive(struct tls *self, void *data, size_t size) { (void)self, (void)data, (void)size, no_tls(); }
bool tls_ended(const struct tls *self) { (void)self, no_tls(); }
ssize_t tls_take(struct tls *self, void *data, size_t count, size_t size) {
    (void)self, (void)data, (void)count, (void)size, no_tls();
}
size_t tls_hello(void *data, size_t size) { (void)data, (void)size, no_tls(); }
void tls_shutdown(struct tls *self) { (void)self, no_tls(); }
void tls_free(struct tls *self) { (void)self, no_tls(); }

#endif
