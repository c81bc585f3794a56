/*
 * A long wire between two network namespaces, for kernels without netem: each end is a TUN device named wan0, and this
 * program carries the packets, late, at a bounded rate, and not all of them.
 *
 *   wire NAMESPACE NAMESPACE DELAY_MS LOSS_PERCENT RATE_MBIT
 *
 * Each direction has a thread of its own; the figures hold for each. It writes "ready" when both devices are there.
 * SIGUSR1 cuts the wire (packets vanish, as with a cable that is pulled somewhere on the way), SIGUSR2 mends it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_PACKET = 9216, READS_IN_TURN = 64 };

struct packet {
  uint64_t due;
  int length;
  struct packet *next;
  unsigned char bytes[];
};

struct direction {
  int from, to;
  unsigned seed;
  /* Packets on their way, in order. */
  struct packet *first, *last;
  int64_t queued_bytes;
  /* When the sending end has put the packet before on the wire. */
  uint64_t free_at;
};

static uint64_t delay_ns;
static double loss, bits_per_ns;
/* A router's buffer of 50 ms lies before the wire; what does not fit into that and the wire is lost. */
static int64_t most_bytes;
static volatile sig_atomic_t cut = 0;

static void on_signal(int number) { cut = number == SIGUSR1; }

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* Opens the device in the namespace. The thread comes back to its own namespace afterwards. */
static int open_end(const char *name_space) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", name_space);
  int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  int other = open(path, O_RDONLY | O_CLOEXEC);
  if (own < 0 || other < 0) die(path);
  if (setns(other, CLONE_NEWNET) != 0) die("setns");
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (device < 0) die("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strcpy(request.ifr_name, "wan0");
  if (ioctl(device, TUNSETIFF, &request) != 0) die("TUNSETIFF");
  if (setns(own, CLONE_NEWNET) != 0) die("setns");
  close(own);
  close(other);
  return device;
}

static void send_on(struct direction *d, const unsigned char *bytes, int length) {
  if (cut || rand_r(&d->seed) < loss * ((double)RAND_MAX + 1)) return;
  if (d->queued_bytes + length > most_bytes) return;
  struct packet *p = malloc(sizeof *p + (size_t)length);
  if (p == NULL) die("malloc");
  uint64_t now = now_ns();
  if (d->free_at < now) d->free_at = now;
  d->free_at += (uint64_t)(length * 8 / bits_per_ns);
  p->due = d->free_at + delay_ns;
  p->length = length;
  p->next = NULL;
  memcpy(p->bytes, bytes, (size_t)length);
  if (d->last != NULL) d->last->next = p;
  else d->first = p;
  d->last = p;
  d->queued_bytes += length;
}

/* Hands over what has arrived; answers how long until the next packet does, or -1. */
static int64_t deliver(struct direction *d) {
  while (d->first != NULL) {
    struct packet *p = d->first;
    int64_t left = (int64_t)(p->due - now_ns());
    if (left > 0) return left;
    d->first = p->next;
    if (d->first == NULL) d->last = NULL;
    d->queued_bytes -= p->length;
    /* A device that is full or down loses packets, as everywhere. */
    if (!cut && write(d->to, p->bytes, (size_t)p->length) < 0) { }
    free(p);
  }
  return -1;
}

static void *carry(void *argument) {
  struct direction *d = argument;
  unsigned char bytes[LARGEST_PACKET];
  for (;;) {
    int64_t left = deliver(d);
    struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    struct pollfd readable = {.fd = d->from, .events = POLLIN};
    if (ppoll(&readable, 1, left < 0 ? NULL : &wait, NULL) < 1) continue;
    for (int i = 0; i < READS_IN_TURN; i++) {
      ssize_t length = read(d->from, bytes, sizeof bytes);
      if (length <= 0) break;
      send_on(d, bytes, (int)length);
    }
  }
}

int main(int count, char **arguments) {
  if (count != 6) {
    fprintf(stderr, "usage: %s NAMESPACE NAMESPACE DELAY_MS LOSS_PERCENT RATE_MBIT\n", arguments[0]);
    return 2;
  }
  delay_ns = (uint64_t)(atof(arguments[3]) * 1e6);
  loss = atof(arguments[4]) / 100;
  bits_per_ns = atof(arguments[5]) / 1e3;
  most_bytes = (int64_t)(bits_per_ns / 8 * (double)(delay_ns + 50000000));
  int a = open_end(arguments[1]), b = open_end(arguments[2]);
  signal(SIGUSR1, on_signal);
  signal(SIGUSR2, on_signal);
  static struct direction there, back;
  there = (struct direction){.from = a, .to = b, .seed = 1};
  back = (struct direction){.from = b, .to = a, .seed = 2};
  pthread_t thread;
  if (pthread_create(&thread, NULL, carry, &back) != 0) die("pthread_create");
  printf("ready\n");
  fflush(stdout);
  carry(&there);
}
