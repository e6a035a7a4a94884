/*
 * Prints the program that libseccomp makes of a policy, one "bpf" line an
 * instruction, and how it resolves each name of it ("call" lines). Input lines:
 *   default ACTION | arch NAME | drop-native | rule ACTION NAME COUNT [ARG OP A B]...
 * Actions are numbers as libseccomp takes them; operators its enum's values.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what, int rc)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(1);
}

int main(void)
{
	static const char *const arches[] = { "x86_64", "x86", "x32", "aarch64", "arm" };
	char word[64], name[128];
	uint32_t action;
	scmp_filter_ctx ctx = NULL;
	struct sock_filter insn;
	int rc;

	while (scanf("%63s", word) == 1) {
		if (!strcmp(word, "default")) {
			if (scanf("%" SCNu32, &action) != 1 || !(ctx = seccomp_init(action)))
				fail("init", -EINVAL);
		} else if (!strcmp(word, "arch")) {
			if (scanf("%127s", name) != 1)
				fail("arch", -EINVAL);
			rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(name));
			if (rc && rc != -EEXIST)
				fail(name, rc);
		} else if (!strcmp(word, "drop-native")) {
			if ((rc = seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE)))
				fail("drop-native", rc);
		} else {
			struct scmp_arg_cmp args[6];
			unsigned count, i, op;
			int nr;

			if (scanf("%" SCNu32 " %127s %u", &action, name, &count) != 3 || count > 6)
				fail("rule", -EINVAL);
			for (i = 0; i < count; i++) {
				if (scanf("%u %u %" SCNu64 " %" SCNu64, &args[i].arg, &op, &args[i].datum_a, &args[i].datum_b) != 4)
					fail("arg", -EINVAL);
				args[i].op = op;
			}
			nr = seccomp_syscall_resolve_name(name);
			printf("call %s", name);
			for (i = 0; i < sizeof(arches) / sizeof(*arches); i++)
				printf(" %d", nr == __NR_SCMP_ERROR ? nr : seccomp_syscall_resolve_name_arch(seccomp_arch_resolve_name(arches[i]), name));
			printf("\n");
			if (nr == __NR_SCMP_ERROR)
				continue;
			rc = seccomp_rule_add_array(ctx, action, nr, count, args);
			if (rc && rc != -EACCES) /* the default's action: no rule */
				fail(name, rc);
		}
	}
	fflush(stdout);
	FILE *tmp = tmpfile();
	if (!tmp || (rc = seccomp_export_bpf(ctx, fileno(tmp))))
		fail("export", rc);
	rewind(tmp);
	while (fread(&insn, sizeof(insn), 1, tmp) == 1)
		printf("bpf %u %u %u %u\n", insn.code, insn.jt, insn.jf, insn.k);
	return 0;
}
