/* The limit that servers are measured against: a loop over send(2).
 *
 *     send FRAME_IN_HEX [OFFSET]
 *
 * prints "listening 127.0.0.1:PORT", accepts whoever connects, and at each line
 * "publish K" or "publish K AT" on its standard input sends K copies of the frame, in
 * one call, to every connection, with AT, 64 bits little-endian, at the offset. Where
 * a socket is full it waits. It ends with its standard input. */

#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNS = 1 << 16, MAX_BATCH = 1 << 20 };

static int conns[MAX_CONNS];
static int count;

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static int listen_on_loopback(void) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		fail("listen");
	printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void take_arrivals(int listener) {
	int one = 1, fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (count == MAX_CONNS) {
			fprintf(stderr, "more than %d connections\n", MAX_CONNS);
			exit(1);
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		conns[count++] = fd;
	}
}

/* Sends what a full socket has not taken yet; in a closed loop that never happens. */
static void send_rest(int fd, const char *bytes, size_t size) {
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	while (size > 0) {
		ssize_t n = send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			fail("send");
		if (n < 0 && poll(&room, 1, -1) < 0)
			fail("poll");
		if (n > 0)
			bytes += n, size -= n;
	}
}

static void send_all(const char *bytes, size_t size) {
	for (int i = 0; i < count; i++) {
		ssize_t n = send(conns[i], bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n != (ssize_t)size)
			send_rest(conns[i], n < 0 ? bytes : bytes + n, n < 0 ? size : size - n);
	}
}

static size_t from_hex(const char *text, char *bytes, size_t room) {
	size_t n = strlen(text) / 2;
	unsigned byte;
	for (size_t i = 0; i < n && i < room; i++) {
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return 0;
		bytes[i] = (char)byte;
	}
	return n < room ? n : 0;
}

/* Carries out one command; 0: it is none. */
static int obey(const char *line, char *batch, size_t size, size_t offset) {
	static int copies = 1;
	int k = 0;
	long long at = 0;
	int words = sscanf(line, "publish %d %lld", &k, &at);
	if (words < 1 || k < 1 || (size_t)k * size > MAX_BATCH) {
		fprintf(stderr, "not a command: %s\n", line);
		return 0;
	}
	for (; copies < k; copies++)
		memcpy(batch + copies * size, batch, size);
	for (int i = 0; words == 2 && i < k; i++)
		memcpy(batch + i * size + offset, &(int64_t){at}, 8); /* little-endian, as this machine is */
	send_all(batch, k * size);
	return 1;
}

int main(int argc, char **argv) {
	static char batch[MAX_BATCH], text[4096];
	size_t size = argc == 2 || argc == 3 ? from_hex(argv[1], batch, 1 << 12) : 0;
	size_t offset = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	if (size == 0 || offset + 8 > size) {
		fprintf(stderr, "usage: send FRAME_IN_HEX [OFFSET]\n");
		return 2;
	}
	size_t filled = 0;
	int listener = listen_on_loopback();
	struct pollfd ready[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
	for (;;) {
		if (poll(ready, 2, -1) < 0)
			fail("poll");
		take_arrivals(listener);
		if (!ready[0].revents)
			continue;
		ssize_t got = read(STDIN_FILENO, text + filled, sizeof text - 1 - filled);
		if (got <= 0)
			return 0;
		filled += got;
		text[filled] = 0;
		char *line = text;
		for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
			if (!obey(line, batch, size, offset))
				return 2;
		filled = strlen(line);
		memmove(text, line, filled + 1);
	}
}
