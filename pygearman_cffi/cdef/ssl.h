/* A probe, never called: the name resolves on the library's handle only when it was built
 * with TLS. libgearman itself has no function, constant or flag that tells. */

void *SSL_CTX_new(const void *method);
