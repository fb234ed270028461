/* What the headers and the package borrow from the C library. */

/* cffi does not know these two names. A port is 16 bits everywhere; time_t is a long on
 * every 64-bit platform, and the tests compare both with the compiler's own. */
typedef uint16_t in_port_t;
typedef long time_t;

/* Releases what gearman_client_do() and gearman_task_take_data() return. */
void free(void *ptr);

/* Makes what a v1 worker function returns: libgearman releases it with free(). */
void *malloc(size_t size);
