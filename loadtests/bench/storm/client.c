/* The clients of the storm's benchmark, one thread on epoll: those who are connected and measure, or those who come.
 *
 *   client PORT connected CONNECTIONS RATE [tls]
 *       Connects, by TLS 1.3 if that is said, and says "ready". For each line on stdin, a number of seconds, it sends RATE messages a second, spread
 *       over all connections, and prints one line of JSON when all are answered. A message carries the time at which it
 *       is sent, and counts until the kernel has its answer (SO_TIMESTAMPNS): the packets of a storm are the kernel's work
 *       before any program's, and delay this one as well. How late it sends is told apart. Any connection that is lost
 *       ends it.
 *   client PORT storm PATH | hellos
 *       Says "ready". For each line on stdin, seconds and a rate, so many attempts a second begin: connect, ask for PATH,
 *       take the status of the answer, reset the connection; or send a ClientHello of TLS, the same each time, and take the
 *       type of the answer. Rate -N: always N are under way, so that it is as fast as
 *       the server. An attempt without an answer is given up after four seconds. The line of JSON has what each second
 *       saw.
 *
 * Errors of one attempt are counted, any other mistake ends the program with a line on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../ring.h"
#include "../tls.h"

enum {
    SIZE = 32,                 /* a message's payload; its first eight bytes are when it was sent, ns */
    FRAME = 2 + 4 + SIZE,      /* masked with zeroes */
    ANSWER = 2 + SIZE,
    SLOTS = 60000,             /* attempts that may be under way, if so many files may be open */
    SPARE_FILES = 100,
    SOURCES = 8,               /* addresses that they come from: one has 28,000 ports */
    MOST_SECONDS = 600,
    PER_LOOK = 256             /* attempts that begin between two looks at the answers */
};
static const uint64_t SECOND = 1000000000, PATIENCE = 4 * 1000000000ull, ANSWERED_BY = 60 * 1000000000ull;
static const char REQUEST[] =
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
static const char PLAIN[] = "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

static int port, poller;
static char request[1024];
static size_t request_size;
static bool hellos;

void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("client: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t nanoseconds(struct timespec time) { return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec; }

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return nanoseconds(time);
}

/* The clock of the kernel's timestamps. */
static uint64_t real_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return nanoseconds(time);
}

static int connected_socket(int flags) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    static uint32_t count;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + count++ % SOURCES);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), on = 1;
    if (fd < 0) fail("socket: %m");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source)) fail("bind: %m");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) fail("connect: %m");
    return fd;
}

static void add(int fd, uint32_t events, uint32_t number) {
    struct epoll_event event = {.events = events, .data.u32 = number};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl: %m");
}

/* The seconds, and what else the next line of stdin says; false at its end. */
static bool order(double *seconds, double *rate) {
    char line[128];
    if (!fgets(line, sizeof line, stdin)) return false;
    if (sscanf(line, "%lf %lf", seconds, rate) < 1 || *seconds <= 0 || *seconds > MOST_SECONDS) fail("what is %s?", line);
    return true;
}

/* ---- those who are connected ---- */

struct member {
    int fd;
    struct tls *tls; /* NULL on plain TCP */
    size_t have;
    unsigned char data[4096];
};

static struct member *members;
static struct times {
    uint32_t *us;
    size_t count, room;
} latencies, delays; /* until the answer came; how late the client sent */

static void transmit(struct member *self, const void *data, size_t size) {
    if (self->tls ? tls_send(self->tls, data, size) != size || !tls_flush(self->tls)
                  : send(self->fd, data, size, MSG_DONTWAIT) != (ssize_t)size)
        fail("send: %m");
}

/* Adds what came to what there is; false where that is nothing yet. */
static bool take(struct member *self, unsigned char *data, size_t have, ssize_t count) {
    if (self->tls && count > 0) count = tls_take(self->tls, data, (size_t)count, have);
    if (count == 0) fail("a connection was closed");
    if (count < 0 && errno == EAGAIN) return false;
    if (count < 0) fail("recv: %m");
    if ((size_t)count > sizeof self->data - self->have) fail("more has come than was asked for");
    memcpy(self->data + self->have, data, (size_t)count);
    self->have += (size_t)count;
    return true;
}

static void join(struct member *self, uint32_t number, bool tls) {
    unsigned char data[TLS_LEAST];
    self->fd = connected_socket(0);
    if (tls) self->tls = tls_begin(self->fd, false);
    while (tls && !tls_is_open(self->tls)) take(self, data, sizeof data, recv(self->fd, data, 4096, 0));
    transmit(self, request, request_size);
    while (!memmem(self->data, self->have, "\r\n\r\n", 4)) take(self, data, sizeof data, recv(self->fd, data, 4096, 0));
    if (memcmp(self->data, "HTTP/1.1 101 ", 13)) fail("a handshake: %.*s", (int)self->have, (char *)self->data);
    self->have = 0;
    int on = 1;
    if (setsockopt(self->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on)) fail("SO_TIMESTAMPNS: %m");
    add(self->fd, EPOLLIN, number);
}

static void note(struct times *self, uint64_t time) {
    if (self->count == self->room) {
        self->room = self->room ? 2 * self->room : 1 << 16;
        self->us = realloc(self->us, self->room * sizeof *self->us);
        if (!self->us) fail("no memory");
    }
    self->us[self->count++] = (uint32_t)(time / 1000);
}

static void send_one(struct member *self) {
    unsigned char frame[FRAME] = {0x82, 0x80 | SIZE};
    uint64_t sent = real_time();
    memcpy(frame + 6, &sent, sizeof sent);
    transmit(self, frame, FRAME);
}

/* Takes one frame off the front; returns how long it is, 0 if it is not whole. */
static size_t take_frame(struct member *self, const unsigned char *data, size_t have, uint64_t time) {
    if (have < 2 || have < 2u + data[1]) return 0;
    size_t size = data[1];
    if (data[0] == 0x89 && size <= 125) {
        unsigned char pong[6 + 125] = {0x8a, (unsigned char)(0x80 | size)};
        memcpy(pong + 6, data + 2, size);
        transmit(self, pong, 6 + size);
    } else if (data[0] == 0x82 && size == SIZE) {
        uint64_t sent;
        memcpy(&sent, data + 2, sizeof sent);
        if (sent > time || time - sent > ANSWERED_BY) fail("an answer to nothing");
        note(&latencies, time - sent);
    } else fail("a frame that begins with %02x %02x", data[0], data[1]);
    return 2 + size;
}

static void read_answers(struct member *self) {
    unsigned char data[TLS_LEAST];
    struct iovec place = {data, sizeof self->data};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct timespec))];
    } control;
    struct msghdr message = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(self->fd, &message, MSG_DONTWAIT);
    if (!take(self, data, sizeof data, count)) return;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_TIMESTAMPNS) fail("the kernel gave no timestamp");
    struct timespec came;
    memcpy(&came, CMSG_DATA(header), sizeof came);
    uint64_t time = nanoseconds(came);
    size_t used = 0;
    for (size_t size; (size = take_frame(self, self->data + used, self->have - used, time)); used += size) {}
    memmove(self->data, self->data + used, self->have -= used);
}

static int compare(const void *one, const void *other) {
    uint32_t left = *(const uint32_t *)one, right = *(const uint32_t *)other;
    return (left > right) - (left < right);
}

static double percentile(const struct times *self, double part) {
    return self->count ? self->us[(size_t)((double)(self->count - 1) * part)] : 0;
}

static void measure(uint32_t connections, double rate, double seconds) {
    uint64_t begun = now(), end = begun + (uint64_t)(seconds * 1e9), time, sent = 0;
    latencies.count = delays.count = 0;
    while ((time = now()) < end || latencies.count < sent) {
        if (time > end + ANSWERED_BY) fail("%zu messages have no answer", sent - latencies.count);
        uint64_t due;
        while ((due = begun + (uint64_t)((double)sent * 1e9 / rate)) <= time && due < end) {
            note(&delays, time - due);
            send_one(&members[sent++ % connections]);
        }
        struct timespec wait = {0, due < end && due > time ? (long)(due - time) : 1000000};
        struct epoll_event events[64];
        int count = epoll_pwait2(poller, events, 64, &wait, NULL);
        if (count < 0 && errno != EINTR) fail("epoll_pwait2: %m");
        for (int index = 0; index < count; index++) read_answers(&members[events[index].data.u32]);
    }
    qsort(latencies.us, latencies.count, sizeof *latencies.us, compare);
    qsort(delays.us, delays.count, sizeof *delays.us, compare);
    printf("{\"answers\": %zu, \"p50_us\": %.0f, \"p99_us\": %.0f, \"most_us\": %.0f, \"client_p99_us\": %.0f}\n",
           latencies.count, percentile(&latencies, 0.5), percentile(&latencies, 0.99), percentile(&latencies, 1),
           percentile(&delays, 0.99));
}

static void stay_connected(uint32_t connections, double rate, bool tls) {
    request_size = (size_t)snprintf(request, sizeof request, REQUEST, "/chat");
    if (tls) tls_prepare("1.3", false);
    members = calloc(connections, sizeof *members);
    if (!members) fail("no memory");
    for (uint32_t number = 0; number < connections; number++) join(&members[number], number, tls);
    puts("ready");
    fflush(stdout);
    for (double seconds, none; order(&seconds, &none); fflush(stdout)) measure(connections, rate, seconds);
}

/* ---- those who come ---- */

struct attempt {
    int fd; /* 0: it is over */
    bool asked;
    uint64_t begun;
    struct attempt *before, *after; /* by age; `after` also of those that are free */
};

/* What one second saw. */
struct second {
    unsigned begun, taken, served, refused, failed, given_up;
};

static struct attempt attempts[SLOTS], ends = {.before = &ends, .after = &ends}, *unused;
static unsigned under_way;
static struct second tally[MOST_SECONDS + 1];
static uint64_t storm_begun;

static struct second *second_of(uint64_t time) {
    uint64_t number = (time - storm_begun) / SECOND;
    return &tally[number < MOST_SECONDS ? number : MOST_SECONDS];
}

static void finish(struct attempt *self) {
    struct linger reset = {1, 0};
    setsockopt(self->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(self->fd);
    self->fd = 0;
    self->before->after = self->after;
    self->after->before = self->before;
    self->after = unused;
    unused = self;
    under_way--;
}

/* Asks as soon as it is connected, which on one machine is nearly always at once. */
static void ask(struct attempt *self, uint64_t time) {
    ssize_t count = send(self->fd, request, request_size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count == (ssize_t)request_size) self->asked = true;
    else if (count >= 0 || errno != EAGAIN) second_of(time)->failed++, finish(self);
}

static void begin_attempt(uint64_t time) {
    struct attempt *self = unused;
    unused = self->after;
    *self = (struct attempt){connected_socket(SOCK_NONBLOCK), false, time, ends.before, &ends};
    ends.before = ends.before->after = self;
    under_way++;
    second_of(time)->begun++;
    ask(self, time);
    if (self->fd) add(self->fd, EPOLLIN | (self->asked ? 0 : EPOLLOUT), (uint32_t)(self - attempts));
}

static void take_status(struct attempt *self, uint64_t time) {
    char answer[1024];
    ssize_t count = recv(self->fd, answer, sizeof answer - 1, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    struct second *second = second_of(time);
    if (hellos && count > 0) *(answer[0] == 0x16 ? &second->taken : &second->refused) += 1;
    else if (count < 13 || memcmp(answer, "HTTP/1.1 ", 9)) second->failed++;
    else if (!memcmp(answer + 9, "101", 3)) second->taken++;
    else if (answer[9] == '2') second->served++;
    else if (!memcmp(answer + 9, "429", 3) || answer[9] == '5') second->refused++;
    else fail("an answer: %.12s", answer);
    finish(self);
}

static void on_event(const struct epoll_event *event, uint64_t time) {
    struct attempt *self = &attempts[event->data.u32];
    if (!self->fd) return;
    if (!self->asked && event->events & EPOLLOUT) {
        struct epoll_event wait = {.events = EPOLLIN, .data.u32 = event->data.u32};
        ask(self, time);
        if (self->asked && epoll_ctl(poller, EPOLL_CTL_MOD, self->fd, &wait)) fail("epoll_ctl: %m");
    }
    if (self->fd && event->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) take_status(self, time);
}

static void give_up(uint64_t time) {
    while (under_way && time - ends.after->begun >= PATIENCE) {
        second_of(time)->given_up++;
        finish(ends.after);
    }
}

static void storm(double seconds, double rate) {
    memset(tally, 0, sizeof tally);
    storm_begun = now();
    uint64_t end = storm_begun + (uint64_t)(seconds * 1e9), time, due;
    for (uint64_t begun = 0; (time = now()) < end;) {
        give_up(time);
        due = rate > 0 ? (uint64_t)((double)(time - storm_begun) * rate / 1e9) + 1 : UINT64_MAX;
        for (int count = 0; count < PER_LOOK && begun < due && unused; count++, begun++) {
            if (rate < 0 && under_way >= -rate) break;
            begin_attempt(time);
        }
        struct epoll_event events[512];
        int count = epoll_wait(poller, events, 512, begun < due && rate > 0 && unused ? 0 : 1);
        if (count < 0 && errno != EINTR) fail("epoll_wait: %m");
        time = now();
        for (int index = 0; index < count; index++) on_event(&events[index], time);
    }
    while (under_way) finish(ends.after);
    printf("[");
    for (int number = 0; number < (int)seconds; number++) {
        struct second *one = &tally[number];
        printf("%s{\"begun\": %u, \"taken\": %u, \"served\": %u, \"refused\": %u, \"failed\": %u, \"given_up\": %u}",
               number ? ", " : "", one->begun, one->taken, one->served, one->refused, one->failed, one->given_up);
    }
    puts("]");
}

static void come(const char *path) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    hellos = !strcmp(path, "hellos");
    if (hellos) tls_prepare("1.3", false), request_size = tls_hello(request, sizeof request);
    else request_size = (size_t)snprintf(request, sizeof request, strcmp(path, "/chat") ? PLAIN : REQUEST, path);
    for (unsigned index = 0; index < SLOTS && index + SPARE_FILES < files.rlim_cur; index++) attempts[index].after = unused, unused = &attempts[index];
    puts("ready");
    fflush(stdout);
    for (double seconds, rate; order(&seconds, &rate); fflush(stdout)) storm(seconds, rate);
}

int main(int count, char **words) {
    static const char usage[] = "client PORT connected CONNECTIONS RATE [tls] | PORT storm PATH | PORT storm hellos";
    if (count < 4) fail("%s", usage);
    prctl(PR_SET_TIMERSLACK, 1);
    port = atoi(words[1]);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) fail("epoll_create1: %m");
    if (!strcmp(words[2], "storm")) come(words[3]);
    else if (count == 5 || (count == 6 && !strcmp(words[5], "tls")))
        stay_connected((uint32_t)atoi(words[3]), atof(words[4]), count == 6);
    else fail("%s", usage);
    return 0;
}
