"""Runs a program in a terminal: terminal.py ROWS COLUMNS STEPS PROGRAM ARGUMENT...

STEPS is a list in JSON of pairs: a text to wait for on the screen, and what to do then: keys to press, the name of a signal, or a
file to be made, as +PATH. Prints an object: the exit code, what came, the screen at the last step, the steps that are left, and
whether the terminal is set as it was before."""

import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

# a cursor's place, any other control sequence, or a character
TOKEN = re.compile(r"\x1b\[(\d+);(\d+)H|\x1b\[[?0-9;]*[A-Za-z]|(.)", re.DOTALL)
rows, columns, steps = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])


def rendered(text):
    lines, row, column = [[" "] * columns for _ in range(rows)], 0, 0
    for y, x, letter in TOKEN.findall(text):
        if y:
            row, column = int(y) - 1, int(x) - 1
        elif letter == "\r":
            column = 0
        elif letter == "\n":
            row += 1
        elif letter and letter != "\x1b":
            if column == columns:
                row, column = row + 1, 0
            lines[min(row, rows - 1)][column] = letter
            column += 1
    return "\n".join("".join(line).rstrip() for line in lines)


def act(action):
    if action.startswith("SIG"):
        os.kill(pid, getattr(signal, action))
    elif action.startswith("+"):
        open(action[1:], "w").close()
    else:
        os.write(parent, action.encode())


parent, child = pty.openpty()
fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
before = termios.tcgetattr(child)
pid = os.fork()
if pid == 0:
    os.login_tty(child)
    os.execv(sys.argv[4], sys.argv[4:])

came, screen, deadline = b"", "", time.monotonic() + 50
while time.monotonic() < deadline:
    if select.select([parent], [], [], 0.05)[0]:
        came += os.read(parent, 65536)
        screen = rendered(came.decode(errors="replace")) if steps else screen
        if steps and steps[0][0] in screen:
            act(steps.pop(0)[1])
    elif os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        break
else:
    os.kill(pid, signal.SIGKILL)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
said = {"code": code, "came": came.decode(errors="replace"), "screen": screen, "left": steps}
print(json.dumps(said | {"restored": termios.tcgetattr(child) == before}))
